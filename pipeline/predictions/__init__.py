"""What predictions become: a file in a contest's form, a drift check, a line in the ledger, figures
where labels are known.
"""
