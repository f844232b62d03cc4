"""What predictions become: a file in a contest's form, a check of drift, a line in the ledger,
figures where labels are known.
"""
