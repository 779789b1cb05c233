"""Celery's settings, read when the application is first used: importing it needs no environment."""

from typing import Any

from kombu.entity import Queue

from config import queues
from config.endpoints import broker_url as _broker_url
from config.settings import AMQP, settings
from worker.queue.request import MAX_PRIORITY
from worker.stages.table import STAGES

broker_url = _broker_url()
broker_connection_retry_on_startup = True
# Without time limits a broker that is frozen, or a lost network, would hang a producer for ever.
broker_connection_timeout = settings().broker_timeout_s
broker_transport_options: dict[str, Any]
if broker_url.startswith(AMQP):
    broker_transport_options = {
        "read_timeout": settings().broker_timeout_s,
        "write_timeout": settings().broker_timeout_s,
    }
else:
    broker_transport_options = {
        "priority_steps": list(range(MAX_PRIORITY + 1)),
        "queue_order_strategy": "priority",
        "socket_connect_timeout": settings().broker_timeout_s,
        "socket_timeout": settings().broker_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 25,  # seconds; below the 30 s after which many proxies drop idle connections
        # Seconds after which an unacknowledged message of a dead worker is delivered again.
        "visibility_timeout": 120,
    }
    # A server that is full, or read-only after a failover, is connected to again. The same answer of RabbitMQ
    # means that a queue has other arguments: its workers end and say so.
    broker_channel_error_retry = True

# The job's rows are the result store: there is no second copy of a state that could differ.
result_backend = "worker.queue.backend:JobsBackend"

# JSON only: a message cannot run code.
task_serializer = "json"
result_serializer = "json"
event_serializer = "json"
accept_content = ["json"]

task_default_queue = queues.CPU
# Without arguments, as an application declares them that does not have this package: RabbitMQ refuses a queue
# that exists with others (406). Its messages so have no priority. The database's order of service does not
# need it: any message takes the most urgent stage.
task_queues = [Queue(name) for name in queues.ALL]  # type: ignore[no-untyped-call]
task_routes = {f"tasks.{stage.name}": {"queue": stage.queue} for stage in STAGES}

# A message is a wake-up. It is acknowledged before the work: not the broker but the row's lease decides who
# runs a stage, and what happens when that worker dies.
task_acks_late = False
worker_prefetch_multiplier = 1
task_soft_time_limit = settings().stage_timeout_s
# Seconds between the exception in the stage and the kill of its process: enough to record a failed attempt.
task_time_limit = settings().stage_timeout_s + 30

# Events for Flower.
worker_send_task_events = True
task_send_sent_event = True

# Seconds; a process loads its models before it reports that it is up.
worker_proc_alive_timeout = 300
worker_cancel_long_running_tasks_on_connection_loss = False
worker_hijack_root_logger = False
