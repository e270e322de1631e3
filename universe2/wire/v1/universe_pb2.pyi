from universe2.wire.v1 import space_pb2 as _space_pb2
from universe2.wire.v1 import value_pb2 as _value_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fault(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[Fault]
    ENVIRONMENT: _ClassVar[Fault]
    INFRASTRUCTURE: _ClassVar[Fault]
    USER: _ClassVar[Fault]
NONE: Fault
ENVIRONMENT: Fault
INFRASTRUCTURE: Fault
USER: Fault

class InfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InfoReply(_message.Message):
    __slots__ = ("protocols", "version", "features", "slots_total", "slots_free", "sessions_total", "sessions_open", "families", "max_message_bytes", "max_frame_bytes")
    PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FREE_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_OPEN_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    protocols: _containers.RepeatedScalarFieldContainer[int]
    version: str
    features: _containers.RepeatedScalarFieldContainer[str]
    slots_total: int
    slots_free: int
    sessions_total: int
    sessions_open: int
    families: _containers.RepeatedScalarFieldContainer[str]
    max_message_bytes: int
    max_frame_bytes: int
    def __init__(self, protocols: _Optional[_Iterable[int]] = ..., version: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., slots_total: _Optional[int] = ..., slots_free: _Optional[int] = ..., sessions_total: _Optional[int] = ..., sessions_open: _Optional[int] = ..., families: _Optional[_Iterable[str]] = ..., max_message_bytes: _Optional[int] = ..., max_frame_bytes: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("session", "token", "slots", "per_second", "height", "width", "member")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    session: str
    token: bytes
    slots: _containers.RepeatedScalarFieldContainer[int]
    per_second: float
    height: int
    width: int
    member: int
    def __init__(self, session: _Optional[str] = ..., token: _Optional[bytes] = ..., slots: _Optional[_Iterable[int]] = ..., per_second: _Optional[float] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., member: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("header", "buffers")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    BUFFERS_FIELD_NUMBER: _ClassVar[int]
    header: Header
    buffers: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., buffers: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("sequence", "reply_to", "session", "received", "shared", "coded", "member", "open", "opened", "reset", "send", "batch", "snapshot", "snapshots", "restore", "render", "pictures", "heartbeat", "error", "close", "chunk", "resume", "resumed", "queued", "offer", "attach", "drain")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    CODED_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    RESTORE_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    reply_to: int
    session: str
    received: int
    shared: _containers.RepeatedCompositeFieldContainer[SharedBuffer]
    coded: _containers.RepeatedScalarFieldContainer[int]
    member: int
    open: Open
    opened: Opened
    reset: Reset
    send: Send
    batch: Batch
    snapshot: Snapshot
    snapshots: Snapshots
    restore: Restore
    render: Render
    pictures: Pictures
    heartbeat: Heartbeat
    error: Error
    close: Close
    chunk: Chunk
    resume: Resume
    resumed: Resumed
    queued: Queued
    offer: Offer
    attach: Attach
    drain: Drain
    def __init__(self, sequence: _Optional[int] = ..., reply_to: _Optional[int] = ..., session: _Optional[str] = ..., received: _Optional[int] = ..., shared: _Optional[_Iterable[_Union[SharedBuffer, _Mapping]]] = ..., coded: _Optional[_Iterable[int]] = ..., member: _Optional[int] = ..., open: _Optional[_Union[Open, _Mapping]] = ..., opened: _Optional[_Union[Opened, _Mapping]] = ..., reset: _Optional[_Union[Reset, _Mapping]] = ..., send: _Optional[_Union[Send, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., snapshots: _Optional[_Union[Snapshots, _Mapping]] = ..., restore: _Optional[_Union[Restore, _Mapping]] = ..., render: _Optional[_Union[Render, _Mapping]] = ..., pictures: _Optional[_Union[Pictures, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., resumed: _Optional[_Union[Resumed, _Mapping]] = ..., queued: _Optional[_Union[Queued, _Mapping]] = ..., offer: _Optional[_Union[Offer, _Mapping]] = ..., attach: _Optional[_Union[Attach, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("protocol", "env_id", "interface", "screen_height", "screen_width", "autoreset", "options", "num_slots", "lease_seconds", "spec_hash", "max_message_bytes", "queue_seconds", "max_faults", "codecs", "lossy", "same_host", "more")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _value_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_value_pb2.Value, _Mapping]] = ...) -> None: ...
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    ENV_ID_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    SCREEN_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SCREEN_WIDTH_FIELD_NUMBER: _ClassVar[int]
    AUTORESET_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    NUM_SLOTS_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_FAULTS_FIELD_NUMBER: _ClassVar[int]
    CODECS_FIELD_NUMBER: _ClassVar[int]
    LOSSY_FIELD_NUMBER: _ClassVar[int]
    SAME_HOST_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    env_id: str
    interface: str
    screen_height: int
    screen_width: int
    autoreset: str
    options: _containers.MessageMap[str, _value_pb2.Value]
    num_slots: int
    lease_seconds: float
    spec_hash: str
    max_message_bytes: int
    queue_seconds: float
    max_faults: int
    codecs: _containers.RepeatedScalarFieldContainer[str]
    lossy: str
    same_host: bool
    more: _containers.RepeatedCompositeFieldContainer[Open]
    def __init__(self, protocol: _Optional[int] = ..., env_id: _Optional[str] = ..., interface: _Optional[str] = ..., screen_height: _Optional[int] = ..., screen_width: _Optional[int] = ..., autoreset: _Optional[str] = ..., options: _Optional[_Mapping[str, _value_pb2.Value]] = ..., num_slots: _Optional[int] = ..., lease_seconds: _Optional[float] = ..., spec_hash: _Optional[str] = ..., max_message_bytes: _Optional[int] = ..., queue_seconds: _Optional[float] = ..., max_faults: _Optional[int] = ..., codecs: _Optional[_Iterable[str]] = ..., lossy: _Optional[str] = ..., same_host: bool = ..., more: _Optional[_Iterable[_Union[Open, _Mapping]]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("protocol", "session", "spec_hash", "observation_space", "action_space", "has_action_mask", "lease_seconds", "max_message_bytes", "spec", "resume_token", "codecs", "local_socket", "result_seconds", "more")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    HAS_ACTION_MASK_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CODECS_FIELD_NUMBER: _ClassVar[int]
    LOCAL_SOCKET_FIELD_NUMBER: _ClassVar[int]
    RESULT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    session: str
    spec_hash: str
    observation_space: _space_pb2.Space
    action_space: _space_pb2.Space
    has_action_mask: bool
    lease_seconds: float
    max_message_bytes: int
    spec: SpecInfo
    resume_token: bytes
    codecs: _containers.RepeatedScalarFieldContainer[str]
    local_socket: str
    result_seconds: float
    more: _containers.RepeatedCompositeFieldContainer[Opened]
    def __init__(self, protocol: _Optional[int] = ..., session: _Optional[str] = ..., spec_hash: _Optional[str] = ..., observation_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ..., has_action_mask: bool = ..., lease_seconds: _Optional[float] = ..., max_message_bytes: _Optional[int] = ..., spec: _Optional[_Union[SpecInfo, _Mapping]] = ..., resume_token: _Optional[bytes] = ..., codecs: _Optional[_Iterable[str]] = ..., local_socket: _Optional[str] = ..., result_seconds: _Optional[float] = ..., more: _Optional[_Iterable[_Union[Opened, _Mapping]]] = ...) -> None: ...

class Queued(_message.Message):
    __slots__ = ("place", "retry_after_seconds")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    place: int
    retry_after_seconds: float
    def __init__(self, place: _Optional[int] = ..., retry_after_seconds: _Optional[float] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("token", "received")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    token: bytes
    received: int
    def __init__(self, token: _Optional[bytes] = ..., received: _Optional[int] = ...) -> None: ...

class Resumed(_message.Message):
    __slots__ = ("received",)
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    received: int
    def __init__(self, received: _Optional[int] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("region", "pid", "fd", "bytes", "digest")
    REGION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    FD_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    region: int
    pid: int
    fd: int
    bytes: int
    digest: bytes
    def __init__(self, region: _Optional[int] = ..., pid: _Optional[int] = ..., fd: _Optional[int] = ..., bytes: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Attach(_message.Message):
    __slots__ = ("region", "proof")
    REGION_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    region: int
    proof: bytes
    def __init__(self, region: _Optional[int] = ..., proof: _Optional[bytes] = ...) -> None: ...

class SharedBuffer(_message.Message):
    __slots__ = ("buffer", "region", "offset", "bytes")
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    buffer: int
    region: int
    offset: int
    bytes: int
    def __init__(self, buffer: _Optional[int] = ..., region: _Optional[int] = ..., offset: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class SpecInfo(_message.Message):
    __slots__ = ("id", "runtime", "description", "options", "reference", "multi_agent")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _value_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_value_pb2.Value, _Mapping]] = ...) -> None: ...
    class ReferenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MULTI_AGENT_FIELD_NUMBER: _ClassVar[int]
    id: str
    runtime: str
    description: str
    options: _containers.MessageMap[str, _value_pb2.Value]
    reference: _containers.ScalarMap[str, float]
    multi_agent: bool
    def __init__(self, id: _Optional[str] = ..., runtime: _Optional[str] = ..., description: _Optional[str] = ..., options: _Optional[_Mapping[str, _value_pb2.Value]] = ..., reference: _Optional[_Mapping[str, float]] = ..., multi_agent: bool = ...) -> None: ...

class Reset(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Send(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Batch(_message.Message):
    __slots__ = ("rows", "final_rows", "info", "final_info", "fault_texts")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FINAL_ROWS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    FINAL_INFO_FIELD_NUMBER: _ClassVar[int]
    FAULT_TEXTS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    final_rows: int
    info: _containers.RepeatedCompositeFieldContainer[_value_pb2.InfoColumn]
    final_info: _containers.RepeatedCompositeFieldContainer[_value_pb2.InfoColumn]
    fault_texts: _containers.RepeatedCompositeFieldContainer[FaultText]
    def __init__(self, rows: _Optional[int] = ..., final_rows: _Optional[int] = ..., info: _Optional[_Iterable[_Union[_value_pb2.InfoColumn, _Mapping]]] = ..., final_info: _Optional[_Iterable[_Union[_value_pb2.InfoColumn, _Mapping]]] = ..., fault_texts: _Optional[_Iterable[_Union[FaultText, _Mapping]]] = ...) -> None: ...

class FaultText(_message.Message):
    __slots__ = ("row", "text")
    ROW_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    row: int
    text: str
    def __init__(self, row: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Snapshots(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Restore(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Render(_message.Message):
    __slots__ = ("height", "width")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class Pictures(_message.Message):
    __slots__ = ("slots", "heights", "widths")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    HEIGHTS_FIELD_NUMBER: _ClassVar[int]
    WIDTHS_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedScalarFieldContainer[int]
    heights: _containers.RepeatedScalarFieldContainer[int]
    widths: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, slots: _Optional[_Iterable[int]] = ..., heights: _Optional[_Iterable[int]] = ..., widths: _Optional[_Iterable[int]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Error(_message.Message):
    __slots__ = ("type", "message", "retry_after_seconds", "slots")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    type: str
    message: str
    retry_after_seconds: float
    slots: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, type: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_seconds: _Optional[float] = ..., slots: _Optional[_Iterable[int]] = ...) -> None: ...

class Close(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Drain(_message.Message):
    __slots__ = ("seconds",)
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    def __init__(self, seconds: _Optional[float] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("total_bytes", "offset")
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    total_bytes: int
    offset: int
    def __init__(self, total_bytes: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...
