"""The same network trained in five ways, one file each; none of them knows the rest of tfapp."""
