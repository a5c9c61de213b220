"""One client for every OpenAI-compatible server: vLLM, SGLang, a hosted endpoint. It knows nothing about actions, tools or rewards.

client = ChatClient(["http://127.0.0.1:8000"], cache="outputs/replies.sqlite")
(reply,) = client.ask([ChatRequest((Message("user", (png_bytes, "What is this?")),))])
"""

from tracer1.chat.client import ChatClient
from tracer1.chat.endpoints import Patience
from tracer1.chat.request import ChatReply, ChatRequest, Message

__all__ = ["ChatClient", "ChatReply", "ChatRequest", "Message", "Patience"]
