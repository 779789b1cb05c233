"""The names of the two queues: CPU stages and GPU stages."""

CPU = "cpu"
GPU = "gpu"
ALL = (CPU, GPU)
