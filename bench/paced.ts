/** Latency at a fixed rate: requests go out on time, whether the ones before were answered or not. */
import { HttpLane, type HttpRequest, requestBytes } from './load';

export interface Paced {
  readonly medianMs: number;
  readonly p99Ms: number;
}

/** @param requests how many are sent, `perSecond` of them each second */
export async function paced(port: number, request: HttpRequest, perSecond: number, requests: number): Promise<Paced> {
  const bytes = requestBytes(port, request);
  const free: HttpLane[] = [];
  const lanes: HttpLane[] = [];
  const took: number[] = [];
  const every = 1000 / perSecond;
  const startedAt = performance.now();
  const ask = async (dueAt: number): Promise<void> => {
    let lane = free.pop();
    if (!lane) lanes.push(lane = await HttpLane.open(port, bytes));
    await lane.ask();
    // from when it should have gone out: a client that waits hides what it waits for
    took.push(performance.now() - dueAt);
    free.push(lane);
  };
  const underWay: Promise<void>[] = [];
  for (let sent = 0; sent < requests; sent++) {
    const dueAt = startedAt + sent * every;
    const early = dueAt - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    underWay.push(ask(Math.max(dueAt, startedAt)));
  }
  await Promise.all(underWay);
  for (const lane of lanes) lane.close();
  const sorted = took.sort((a, b) => a - b);
  return { medianMs: sorted[Math.floor(sorted.length / 2)], p99Ms: sorted[Math.floor(sorted.length * 0.99)] };
}
