"""Serves SavedModels as TensorFlow Serving does: its flags, files, REST and gRPC interfaces."""
