"""The content of the Explain page: one digit through the network, why it is read so, and what would change that."""
