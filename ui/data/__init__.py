"""The content of the Data page: browsing the digits, an overview of the set, the map."""
