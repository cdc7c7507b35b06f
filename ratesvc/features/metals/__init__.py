"""/v1/metals: the Bank's accounting prices of gold, silver, platinum and palladium."""
