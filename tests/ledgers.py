"""Ledgers for tests: one in memory, and one that fails on demand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from nanobatch.errors import LedgerError
from nanobatch.limits.account import Account, Answer, Ask, exchange
from tests.fakes import ManualClock


@dataclass
class MemoryLedger:
    """Accounts in a dict."""

    clock: ManualClock
    accounts: dict[str, Account] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    is_down: bool = False
    deaf_to: set[str] = field(default_factory=set)  # processes that are frozen, as far as the ledger can see

    async def exchange(self, account: str, ask: Ask) -> Answer:
        if self.is_down:
            raise LedgerError("the ledger is away")
        if ask.holder in self.deaf_to:
            await asyncio.Event().wait()
        self.asks.append(ask)
        return exchange(self.accounts.setdefault(account, Account()), ask, self.clock.wall())
