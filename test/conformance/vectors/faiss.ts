import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cached } from '../cache';
import { newestJava } from '../java';

const SOURCE = join(__dirname, 'jni', 'knn.cpp');

/** Headers of Debian's `libfaiss-dev`, whose static library needs LAPACK and BLAS. */
const HEADER = '/usr/include/faiss/IndexHNSW.h';

/** The plugin loads its two libraries under these names, where no variant for newer processors is asked for. */
const LIBRARIES = ['libopensearchknn_faiss.so', 'libopensearchknn_common.so'];

/** Settings with which the plugin takes {@link faissFolder}'s libraries, and not one for newer processors. */
export const PLAIN_FAISS = { 'knn.faiss.avx2.disabled': 'true', 'knn.faiss.avx512.disabled': 'true', 'knn.faiss.avx512_spr.disabled': 'true' };

/** A folder with a native library for the plugin's FAISS engine, built from `jni/knn.cpp`: its own is not where the plugin comes from. */
export function faissFolder(): string {
  return cached('opensearch-faiss', SOURCE, (target) => {
    if (!existsSync(HEADER)) installFaiss();
    const jdk = dirname(dirname(newestJava()));
    const [library, copy] = LIBRARIES.map((name) => join(target, name));
    execFileSync('g++', [
      '-O2', '-fPIC', '-fopenmp', '-shared', '-std=c++17', `-I${jdk}/include`, `-I${jdk}/include/linux`, SOURCE, '-o', library,
      '-l:libfaiss.a', '-l:liblapack.so.3', '-l:libblas.so.3', '-Wl,--no-undefined',
    ], { stdio: 'inherit' });
    copyFileSync(library, copy);
    for (const file of [library, copy]) chmodSync(file, 0o644);
  });
}

function installFaiss(): void {
  try {
    execFileSync('apt-get', ['install', '--yes', '--no-install-recommends', 'libfaiss-dev', 'liblapack3', 'libblas3'], { stdio: 'ignore' });
  } catch (error) {
    throw new Error('libfaiss-dev is missing and could not be installed: apt-get install libfaiss-dev liblapack3 libblas3', { cause: error });
  }
}
