import { digestOf } from '../../../runtime/core/digest';
import type { ManifestSource } from '../../../runtime/core/ports';
import type { ModelManifest } from '../../../src/contract';

const MANIFEST: ModelManifest = {
  schemaVersion: '1',
  name: 'eta',
  version: '3',
  platform: 'onnx',
  files: [{ path: 'model.onnx', digest: digestOf('model'), bytes: 5 }],
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }],
};

/** What every source of manifests does. `open` gives one that holds a text as the manifest of model `eta`, version 3. */
export function manifestSourceContract(open: (text: string) => Promise<ManifestSource>): void {
  const text = JSON.stringify(MANIFEST, undefined, 2);

  test('gives the manifest whose bytes have the digest', async () => {
    expect(await (await open(text)).manifest('eta', '3', digestOf(text))).toEqual(MANIFEST);
  });

  test('refuses bytes of another digest, be it the same document', async () => {
    await expect((await open(text)).manifest('eta', '3', digestOf(JSON.stringify(MANIFEST)))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test('says where there is none', async () => {
    await expect((await open(text)).manifest('eta', '4', digestOf(text))).rejects.toMatchObject({ code: 'MANIFEST_NOT_FOUND' });
  });

  test('refuses what is no manifest, whatever its digest', async () => {
    await expect((await open('{}')).manifest('eta', '3', digestOf('{}'))).rejects.toMatchObject({ code: 'INVALID_MANIFEST' });
  });
}
