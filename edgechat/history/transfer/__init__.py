"""Chats carried out of the history and into it, in edgechat's own form and in those of other programs."""
