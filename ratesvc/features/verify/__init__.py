"""`ratesvc verify`: compares what is held with the Bank."""
