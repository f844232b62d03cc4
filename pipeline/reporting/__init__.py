"""What a finished study shows: effects, confidence, borders, and the page that reports them."""
