"""The names of the two queues: work for a processor, work for a graphics card."""

CPU = "cpu"
GPU = "gpu"
ALL = (CPU, GPU)
