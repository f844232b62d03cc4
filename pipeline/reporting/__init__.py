"""What a finished study has to say: effects, confidence, borders, and the page that tells it."""
