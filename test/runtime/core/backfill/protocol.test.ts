/** The protocol of backfills, explored exhaustively at small scope; and mistakes, to which the exploration must find the way. */
import { exploreProtocol, type Rules, RULES } from './protocol.fixture';

jest.setTimeout(300_000);

test('in every order of events nothing goes back in time, one backfill runs at a time, and no row is lost', () => {
  const { counterexample, states } = exploreProtocol(RULES);
  expect(counterexample).toBeUndefined();
  expect(states).toBeGreaterThan(10_000);
});

const MISTAKES: readonly [what: string, found: RegExp, mistake: Partial<Rules>][] = [
  ['a write without its condition', /back in time/, { write: (_, rank) => rank }],
  ['a checkpoint before its rows', /a row is lost/, { checkpointFirst: true }],
  ['a watermark of the end of the run', /a row is lost/, { watermark: (_, now) => now }],
  ['no overlap', /a row is lost/, { overlap: 0 }],
  ['a group taken over from one that runs', /two backfills/, { takesOver: () => true }],
  ['a checkpoint that goes back', /a checkpoint goes back/, { checkpoint: (_, lines) => lines }],
];

test.each(MISTAKES)('%s is found', (_what, found, mistake) => {
  const { counterexample } = exploreProtocol({ ...RULES, ...mistake });
  expect(counterexample?.what).toMatch(found);
});
