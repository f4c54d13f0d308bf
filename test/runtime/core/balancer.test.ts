import fc from 'fast-check';
import { Balancer, type BalancerOptions, type Endpoint, type Outcome, type Peer } from '../../../runtime/core/balancer';

/** A generator with a seed (Park and Miller's minimal standard), so that a failing case can be run again. */
function seeded(seed: number): () => number {
  let state = (Math.abs(seed) % 2147483646) + 1;
  return () => {
    state = (state * 16807) % 2147483647;
    return (state - 1) / 2147483646;
  };
}

const time = { at: 0, now: () => time.at };
beforeEach(() => {
  time.at = 1_000_000;
});

const endpoint = (address: string, zone?: string, ready = true): Endpoint => ({ address, zone, ready });
const pool = (count: number, zoneOf: (index: number) => string | undefined = () => undefined) =>
  Array.from({ length: count }, (_, index) => endpoint(`10.0.0.${index + 1}:8001`, zoneOf(index)));

function balance(endpoints: readonly Endpoint[], options: Partial<BalancerOptions> = {}): Balancer<string> {
  const balancer = new Balancer<string>({ clock: time, random: seeded(7), ...options });
  balancer.update(endpoints, ({ address }) => address);
  return balancer;
}

const peerAt = (balancer: Balancer<string>, address: string) => balancer.all().find((peer) => peer.address === address)!;

function finish(balancer: Balancer<string>, peer: Peer<string>, outcome: Outcome, times = 1): void {
  for (let i = 0; i < times; i++) {
    balancer.started(peer);
    balancer.finished(peer, outcome);
  }
}

/** How many of `count` requests, each over at once, every endpoint gets. */
function shares(balancer: Balancer<string>, count: number, hold = false): Map<string, number> {
  const counts = new Map(balancer.all().map(({ address }) => [address, 0]));
  for (let i = 0; i < count; i++) {
    const peer = balancer.pick()!;
    counts.set(peer.address, counts.get(peer.address)! + 1);
    balancer.started(peer);
    if (!hold) balancer.finished(peer, 'success');
  }
  return counts;
}

describe('spread', () => {
  test('without load, every endpoint gets its share', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 12 }), fc.integer(), (count, seed) => {
      const counts = shares(balance(pool(count), { random: seeded(seed) }), 600 * count);
      for (const [, got] of counts) expect(Math.abs(got - 600)).toBeLessThan(180);
    }), { numRuns: 30 });
  });

  test('under load, no endpoint ever has more than one request more than another', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 300 }), fc.integer(), (count, requests, seed) => {
      const balancer = balance(pool(count), { random: seeded(seed) });
      shares(balancer, requests, true);
      const outstanding = balancer.all().map((peer) => peer.outstanding);
      expect(Math.max(...outstanding) - Math.min(...outstanding)).toBeLessThanOrEqual(1);
    }), { numRuns: 100 });
  });

  test('a slow endpoint gets no more while others have fewer requests outstanding', () => {
    const balancer = balance(pool(3));
    const slow = balancer.all()[0];
    balancer.started(slow);
    expect(shares(balancer, 100).get(slow.address)).toBe(0);
  });
});

describe('zones', () => {
  const zoned = pool(6, (index) => ['a', 'b', 'c'][index % 3]);

  test('the own zone gets everything while it is well', () => {
    fc.assert(fc.property(fc.integer(), (seed) => {
      const balancer = balance(zoned, { zone: 'b', random: seeded(seed) });
      for (let i = 0; i < 50; i++) expect(balancer.pick()!.zone).toBe('b');
    }), { numRuns: 20 });
  });

  test('requests spill to other zones when the own one is clearly busier, and no further than that', () => {
    const balancer = balance(zoned, { zone: 'a', spillAbove: 4 });
    shares(balancer, 9, true);
    expect(new Set(balancer.all().filter(({ outstanding }) => outstanding > 0).map(({ zone }) => zone))).toEqual(new Set(['a']));
    shares(balancer, 1, true);
    expect(balancer.all().filter(({ zone, outstanding }) => zone !== 'a' && outstanding > 0)).toHaveLength(1);
  });

  test('a zone without endpoints is served by the others, evenly', () => {
    const counts = shares(balance(zoned, { zone: 'd' }), 6000);
    for (const [, got] of counts) expect(Math.abs(got - 1000)).toBeLessThan(200);
  });

  test('when most of the own zone is ejected, the others help', () => {
    const balancer = balance([...pool(3, () => 'a'), endpoint('10.0.1.1:8001', 'b'), endpoint('10.0.1.2:8001', 'b')], { zone: 'a' });
    for (const index of [0, 1]) finish(balancer, balancer.all()[index], 'failure', 5);
    const counts = shares(balancer, 900);
    expect(counts.get('10.0.0.1:8001')! + counts.get('10.0.0.2:8001')!).toBe(0);
    for (const address of ['10.0.0.3:8001', '10.0.1.1:8001', '10.0.1.2:8001']) expect(counts.get(address)).toBeGreaterThan(200);
  });

  test('without an own zone the balancer is zone-blind', () => {
    const counts = shares(balance(zoned), 6000);
    for (const [, got] of counts) expect(Math.abs(got - 1000)).toBeLessThan(200);
  });
});

describe('ejection', () => {
  test('five failures in a row eject, four and a success do not', () => {
    const ejected: unknown[] = [];
    const balancer = balance(pool(3), { onEjected: (...said) => ejected.push(said) });
    const [one, two] = balancer.all();
    finish(balancer, one, 'failure', 4);
    finish(balancer, one, 'success');
    finish(balancer, two, 'failure', 5);
    expect(ejected).toEqual([[two.address, 10_000, '5 failures in a row']]);
    expect(shares(balancer, 300).get(two.address)).toBe(0);
  });

  test('a failure rate well above that of the others ejects at the end of the window', () => {
    const balancer = balance(pool(4));
    for (let i = 0; i < 25; i++) {
      balancer.all().forEach((peer, index) => finish(balancer, peer, index === 0 && i % 3 === 0 ? 'failure' : 'success'));
    }
    expect(balancer.all()[0].ejectedUntil).toBe(0);
    time.at += 10_001;
    finish(balancer, balancer.all()[1], 'success');
    expect(shares(balancer, 400).get(balancer.all()[0].address)).toBe(0);
  });

  test('errors of the work itself eject by their rate, never by being in a row', () => {
    const balancer = balance(pool(3));
    const [one, two, three] = balancer.all();
    finish(balancer, one, 'error', 50);
    expect(one.ejectedUntil).toBe(0);
    for (const peer of [two, three]) finish(balancer, peer, 'success', 50);
    time.at += 10_001;
    finish(balancer, two, 'success');
    expect(one.ejectedUntil).toBeGreaterThan(time.at);
  });

  test('what fails everywhere is no outlier', () => {
    const balancer = balance(pool(4));
    for (let i = 0; i < 40; i++) for (const peer of balancer.all()) finish(balancer, peer, 'failure');
    time.at += 10_001;
    finish(balancer, balancer.all()[1], 'success');
    expect(balancer.all().filter(({ ejectedUntil }) => ejectedUntil > time.at).length).toBeLessThanOrEqual(1);
  });

  test('a request whose caller went away says nothing about its endpoint', () => {
    const balancer = balance(pool(2));
    finish(balancer, balancer.all()[0], 'neutral', 50);
    expect(shares(balancer, 200).get(balancer.all()[0].address)).toBeGreaterThan(50);
  });

  test('it ends by itself, lasts longer each time, and one failure on probation renews it', () => {
    const lengths: number[] = [];
    const balancer = balance(pool(3), { onEjected: (_address, ms) => lengths.push(ms) });
    const [peer] = balancer.all();
    finish(balancer, peer, 'failure', 5);
    time.at += 9_999;
    expect(shares(balancer, 90).get(peer.address)).toBe(0);
    time.at += 2;
    expect(shares(balancer, 90).get(peer.address)).toBeGreaterThan(10);
    finish(balancer, peer, 'failure', 5);
    time.at += 20_001;
    finish(balancer, peer, 'failure');
    expect(lengths).toEqual([10_000, 20_000, 30_000]);
    time.at += 30_001;
    finish(balancer, peer, 'success');
    finish(balancer, peer, 'failure', 4);
    expect(lengths).toHaveLength(3);
  });

  test('good windows are forgotten bad ones', () => {
    const lengths: number[] = [];
    const balancer = balance(pool(3), { onEjected: (_address, ms) => lengths.push(ms) });
    const [peer] = balancer.all();
    finish(balancer, peer, 'failure', 5);
    for (let window = 0; window < 6; window++) {
      time.at += 10_001;
      finish(balancer, peer, 'success');
    }
    finish(balancer, peer, 'failure', 5);
    expect(lengths).toEqual([10_000, 10_000]);
  });

  test('at most half of the endpoints are ejected, and one alone never is', () => {
    const balancer = balance(pool(5));
    const [one, two, three] = balancer.all();
    for (const healthy of balancer.all().slice(3)) finish(balancer, healthy, 'success', 100);
    for (const peer of [one, two, three]) finish(balancer, peer, 'failure', 20);
    expect(balancer.all().filter(({ ejectedUntil }) => ejectedUntil > time.at)).toHaveLength(2);
    const alone = balance(pool(1));
    finish(alone, alone.all()[0], 'failure', 20);
    expect(alone.pick()).toBe(alone.all()[0]);
  });

  test('in a panic, when only ejected endpoints are left, they are used', () => {
    const balancer = balance(pool(2));
    const [one] = balancer.all();
    finish(balancer, one, 'failure', 5);
    balancer.update([endpoint(one.address)], ({ address }) => address);
    expect(balancer.pick()).toBe(one);
  });

  test('none that is ejected, not ready or not eligible is ever picked while a healthy one exists', () => {
    const step = fc.record({
      action: fc.constantFrom('fail', 'succeed', 'cancel', 'wait', 'unready', 'ready'), index: fc.nat(7), times: fc.integer({ min: 1, max: 12 }),
    });
    const run = (count: number, zone: string | undefined, seed: number, steps: readonly { action: string; index: number; times: number }[]) => {
      let endpoints = pool(count, (index) => 'abc'[index % 3]);
      const balancer = balance(endpoints, { zone, random: seeded(seed), slowStartMs: 5_000 });
      const eligible = (peer: Peer<string>) => !peer.address.startsWith('10.0.0.2:');
      for (const { action, index, times } of steps) {
        const { address } = endpoints[index % count];
        const outcome = ({ fail: 'failure', succeed: 'success', cancel: 'neutral' } as const)[action as 'fail'];
        if (outcome) {finish(balancer, peerAt(balancer, address), outcome, times);} else if (action === 'wait') {time.at += times * 1_000;} else {
          endpoints = endpoints.map((each) => (each.address === address ? { ...each, ready: action === 'ready' } : each));
          balancer.update(endpoints, (each) => each.address);
        }
        const picked = balancer.pick(eligible);
        const usable = balancer.all().filter((peer) => peer.ready && eligible(peer));
        const healthy = usable.filter(({ ejectedUntil }) => ejectedUntil <= time.at);
        if (healthy.length > 0) expect(healthy).toContain(picked);
        else if (usable.length > 0) expect(usable).toContain(picked);
        else expect(picked).toBeUndefined();
        expect(balancer.all().filter(({ ejectedUntil }) => ejectedUntil > time.at).length).toBeLessThanOrEqual(count / 2);
        for (const peer of balancer.all()) expect(peer.outstanding).toBe(0);
      }
    };
    fc.assert(fc.property(
      fc.integer({ min: 1, max: 8 }), fc.constantFrom(undefined, 'a', 'b', 'z'), fc.integer(), fc.array(step, { minLength: 1, maxLength: 60 }), run,
    ), { numRuns: 200 });
  });
});

describe('membership', () => {
  test('an endpoint that stays keeps what is outstanding; one that left is told and gets nothing more', () => {
    const balancer = balance(pool(2));
    const [one, two] = balancer.all();
    balancer.started(one);
    const opened: string[] = [];
    const left = balancer.update([endpoint(one.address), endpoint('10.0.0.9:8001')], ({ address }) => {
      opened.push(address);
      return address;
    });
    expect(left).toEqual([two]);
    expect(opened).toEqual(['10.0.0.9:8001']);
    expect(peerAt(balancer, one.address).outstanding).toBe(1);
    finish(balancer, two, 'failure', 9);
    expect(shares(balancer, 50).get(one.address)).toBe(0);
  });

  test('one address that is listed twice is one endpoint', () => {
    expect(balance([...pool(2), ...pool(2)]).all()).toHaveLength(2);
  });

  test('nothing is picked from an empty pool, or from one without a ready endpoint', () => {
    expect(balance([]).pick()).toBeUndefined();
    expect(balance([endpoint('10.0.0.1:8001', 'a', false)]).pick()).toBeUndefined();
  });

  test('a retry goes to another endpoint, and to the same one only if it is alone', () => {
    const balancer = balance(pool(2));
    const [one, two] = balancer.all();
    for (let i = 0; i < 20; i++) expect(balancer.pick(undefined, one)).toBe(two);
    balancer.update([endpoint(one.address)], ({ address }) => address);
    expect(balancer.pick(undefined, one)).toBe(one);
  });

  test('with a slow start, a new endpoint gets a share that grows to its full one', () => {
    const balancer = balance(pool(2), { slowStartMs: 10_000 });
    balancer.update([...pool(2), endpoint('10.0.0.9:8001')], ({ address }) => address);
    const share = () => shares(balancer, 3000).get('10.0.0.9:8001')! / 3000;
    const first = share();
    time.at += 5_000;
    const middle = share();
    time.at += 5_000;
    const full = share();
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(0.08);
    expect(middle).toBeGreaterThan(first);
    expect(middle).toBeLessThan(0.25);
    expect(full).toBeGreaterThan(0.29);
  });
});
