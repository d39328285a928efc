"""A campaign of kills, damage and hostile inputs against whole commands: `make campaign`."""
