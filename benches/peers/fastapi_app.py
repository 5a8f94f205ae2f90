"""What many teams write by hand: FastAPI and pydantic, a match by two labels, nothing kept and nothing done."""

from fastapi import FastAPI
from pydantic import BaseModel


class Alert(BaseModel):
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str
    endsAt: str
    generatorURL: str = ""
    fingerprint: str = ""


class Hook(BaseModel):
    version: str
    groupKey: str
    truncatedAlerts: int = 0
    status: str
    receiver: str
    groupLabels: dict[str, str]
    commonLabels: dict[str, str]
    commonAnnotations: dict[str, str]
    externalURL: str
    alerts: list[Alert]


app = FastAPI()


@app.post("/hook")
async def hook(hook: Hook):
    matched = [a for a in hook.alerts if a.status == "firing" and a.labels.get("severity") in ("critical", "warning")]
    return {"matched": len(matched)}


@app.get("/stats")
async def stats():
    return {}
