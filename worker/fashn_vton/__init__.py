"""FASHN VTON v1.5 (FASHN AI 2026, Apache-2.0): the network, its sampler and the preparation of its inputs."""
