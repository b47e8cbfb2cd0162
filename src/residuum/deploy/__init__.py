"""A Classifier for other programs: as weights under the usual names, as an ONNX graph, on the hub."""
