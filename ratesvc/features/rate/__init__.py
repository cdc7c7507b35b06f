"""The page /rate: which rate applies to a document of a day."""
