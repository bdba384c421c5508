"""The content of the Data page: browsing the digits, the set at a glance, the map."""
