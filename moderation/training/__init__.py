"""Makes the data files of moderation from a data folder that is named on the command line."""
