"""All knowledge of the Bank of Russia: its addresses and manners, its documents, and what must never become a rate."""
