"""An opened kernel that can be asked about its pages."""
