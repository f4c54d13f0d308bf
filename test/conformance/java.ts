import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where Linux distributions and the installers of JDKs put them. */
const JVMS = '/usr/lib/jvm';

/** The `java` of the newest JDK: of `JAVA_HOME` and those installed; else whatever stands on the PATH. */
export function newestJava(): string {
  const homes = [process.env.JAVA_HOME ?? '', ...existsSync(JVMS) ? readdirSync(JVMS).map((name) => join(JVMS, name)) : []];
  const found = homes.filter((home) => home !== '' && existsSync(join(home, 'bin', 'java'))).map((home) => ({ home, version: majorVersion(home) }));
  found.sort((a, b) => b.version - a.version);
  return found.length > 0 ? join(found[0].home, 'bin', 'java') : 'java';
}

/** By the `release` file that every JDK has; 0 where it has none. */
function majorVersion(home: string): number {
  const file = join(home, 'release');
  return existsSync(file) ? Number(/^JAVA_VERSION="(\d+)/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0) : 0;
}
