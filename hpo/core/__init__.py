"""Types, contracts and the ledger; nothing here knows how trials run or are chosen."""
