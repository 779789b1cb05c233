"""Celery's settings; read when the application is first used, so that importing it needs no environment."""

from kombu import Queue

from config import queues
from config.endpoints import broker_url as _broker_url
from config.settings import settings
from worker.stages.table import STAGES

broker_url = _broker_url()
broker_connection_retry_on_startup = True
broker_transport_options = {
    "priority_steps": list(range(10)),
    "queue_order_strategy": "priority",
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # A message that a dead worker held unacknowledged comes back after this long.
    "visibility_timeout": 120,
}

# The rows are the result store: a state can only be read from where it is decided.
result_backend = "worker.queue.backend:JobsBackend"

# Only plain JSON crosses the wire.
task_serializer = "json"
result_serializer = "json"
event_serializer = "json"
accept_content = ["json"]

task_default_queue = queues.CPU
task_queues = [Queue(name, queue_arguments={"x-max-priority": 9}) for name in queues.ALL]
task_routes = {f"tasks.{stage.name}": {"queue": stage.queue} for stage in STAGES}

# A message is a wake-up: it is acknowledged before the work, because the row's lease, not the broker, says
# who runs a stage and what happens when that worker dies.
task_acks_late = False
worker_prefetch_multiplier = 1
task_soft_time_limit = settings().stage_timeout_s
task_time_limit = settings().stage_timeout_s + 30

# What Flower shows.
worker_send_task_events = True
task_send_sent_event = True

# A process loads its models before it says that it is up.
worker_proc_alive_timeout = 300
worker_cancel_long_running_tasks_on_connection_loss = False
worker_hijack_root_logger = False
