"""Export and import of chats, in edgechat's own format and those of other programs."""
