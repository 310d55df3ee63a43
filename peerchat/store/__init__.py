"""Truth: tables, transactions, keys. The only folder that knows SQL."""
