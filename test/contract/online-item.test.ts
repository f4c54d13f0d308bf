import fc from 'fast-check';
import { expiresAt, ONLINE_KEY_MAX_BYTES, onlineEntity, onlineKey, OnlineItem } from '../../src/contract';

const GROUP = { name: 'customer', version: 2 };
const bytes = (key: string) => Buffer.byteLength(key, 'utf8');

describe('the key of an online item', () => {
  test('is group, version and the parts of the entity', () => {
    expect(onlineKey(GROUP, ['c-17'])).toBe('customer#2#c-17');
    expect(onlineKey(GROUP, ['c-17', '4'])).toBe('customer#2#c-17#4');
  });

  test('escapes what separates', () => {
    expect(onlineKey(GROUP, ['a#b', '50%', '~'])).toBe('customer#2#a%23b#50%25#%7E');
    expect(onlineKey(GROUP, ['\uD800'])).toBe('customer#2#%uD800');
    expect(onlineKey(GROUP, ['😀'])).toBe('customer#2#😀');
    expect(onlineKey(GROUP, [''])).toBe('customer#2#');
  });

  test('is a digest where DynamoDB would refuse its length', () => {
    const longest = 'x'.repeat(ONLINE_KEY_MAX_BYTES - bytes('customer#2#'));
    expect(onlineKey(GROUP, [longest])).toBe(`customer#2#${longest}`);
    expect(onlineKey(GROUP, [`${longest}y`])).toMatch(/^customer#2#~[0-9a-f]{64}$/);
    expect(onlineKey(GROUP, [`${longest}y`])).not.toBe(onlineKey(GROUP, [`${longest}z`]));
  });

  test('is never shared by two entities, and always fits', () => {
    const part = fc.string({ unit: fc.oneof(fc.constantFrom('#', '%', '~', '2', '3', '5', 'u', '\uD800', '\uDC00', 'é'), fc.string({ minLength: 1, maxLength: 1 })), maxLength: 6 });
    const entity = fc.array(part, { minLength: 1, maxLength: 4 });
    fc.assert(fc.property(entity, entity, (a, b) => {
      const [left, right] = [onlineKey(GROUP, a), onlineKey(GROUP, b)];
      // what DynamoDB compares is UTF-8
      expect(Buffer.from(left).equals(Buffer.from(right))).toBe(JSON.stringify(a) === JSON.stringify(b));
    }), { numRuns: 3000 });
    fc.assert(fc.property(fc.string({ maxLength: 3000 }), (text) => bytes(onlineKey(GROUP, [text])) <= ONLINE_KEY_MAX_BYTES));
  });

  test('differs between versions of a group', () => {
    expect(onlineKey({ name: 'customer', version: 1 }, ['2#x'])).not.toBe(onlineKey({ name: 'customer', version: 12 }, ['x']));
  });
});

describe('the expiry of an online item', () => {
  test('is in whole seconds and after the last instant at which the row counts', () => {
    expect(expiresAt({ ttl: 60 }, 1_700_000_000_001)).toBe(1_700_000_061);
    expect(expiresAt({ ttl: 60 }, 1_700_000_000_000)).toBe(1_700_000_061);
  });

  test('is absent in a group whose rows do not expire', () => {
    expect(expiresAt({}, 1_700_000_000_000)).toBeUndefined();
  });
});

test('attributes of an online item have names of their own', () => {
  const names = Object.values(OnlineItem);
  expect(new Set(names).size).toBe(names.length);
});

describe('the entity of a key', () => {
  test('comes back as it went in, unless the key holds its digest', () => {
    const part = fc.string({ unit: fc.oneof(fc.constantFrom('#', '%', '~', '25', 'u', '\uD800', '\uDC00', 'é'), fc.string({ minLength: 1, maxLength: 1 })), maxLength: 6 });
    fc.assert(fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (entity) => {
      expect(onlineEntity(GROUP, onlineKey(GROUP, entity))).toEqual(entity);
    }), { numRuns: 3000 });
    expect(onlineEntity(GROUP, onlineKey(GROUP, ['x'.repeat(3000)]))).toBeUndefined();
  });

  test('is none where the key is of another group or version', () => {
    expect(onlineEntity({ name: 'customer', version: 3 }, 'customer#2#c-17')).toBeUndefined();
    expect(onlineEntity({ name: 'shop', version: 2 }, 'customer#2#c-17')).toBeUndefined();
  });
});
