"""The rules of vai_q_tensorflow (TensorFlow 1.x; decent_q before): what it makes of a graph, and where it quantizes.

Measured on the tool itself, and read in its public source (github.com/Xilinx/Vitis-AI, src/vai_quantizer), which also
tells the order of the nodes: where several layers ask one tensor for different positions, the last in the graph wins.
"""
