import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FEATURES_LOCK } from '../../../runtime/local/features-lock';
import { CONFIGURATION } from '../core/brain.fixture';

describe('features lock', () => {
  let folder: string;
  const printed: string[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lock-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const declare = (featureGroups = CONFIGURATION.featureGroups) => {
    mkdirSync(join(folder, 'cdk.out/thalos-brain/fleet'), { recursive: true });
    writeFileSync(join(folder, 'cdk.out/thalos-brain/fleet/brain.json'), JSON.stringify({ ...CONFIGURATION, models: [], featureGroups }));
  };
  const file = () => join(folder, 'features.lock.json');
  const lock = () => FEATURES_LOCK.run({ positionals: [], options: { assembly: join(folder, 'cdk.out'), file: file() } }, {
    terminal: { print: (line: string) => printed.push(line) },
  } as never);

  test('writes what is declared, and the same again', async () => {
    declare();
    await lock();
    const first = readFileSync(file(), 'utf8');
    expect(JSON.parse(first).groups.map(({ name }: { name: string }) => name)).toEqual(CONFIGURATION.featureGroups.map(({ name }) => name).sort());
    await lock();
    expect(readFileSync(file(), 'utf8')).toBe(first);
  });

  test('refuses what would break, and writes nothing', async () => {
    declare();
    await lock();
    const first = readFileSync(file(), 'utf8');
    const [group, ...others] = CONFIGURATION.featureGroups;
    declare([{ ...group, features: group.features.slice(1) }, ...others]);
    await expect(lock()).rejects.toThrow(new RegExp(`version ${group.version} of feature group '${group.name}' drops ${group.features[0].name}`));
    expect(readFileSync(file(), 'utf8')).toBe(first);
    writeFileSync(file(), '[]');
    await expect(lock()).rejects.toThrow(/is no lock of version 1/);
  });
});
