"""The machine that workers run on: devices, the embedded servers, the supervisor."""
