import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { createApp } from '../../../examples/quickstart/app';

/** The command of the Triton container as the quickstart synthesizes it. */
export function startScript(): string {
  const outdir = mkdtempSync(join(tmpdir(), 'triton-app-'));
  try {
    createApp({ outdir }).synth();
    const objects = parseAllDocuments(readFileSync(join(outdir, 'thalos-brain/brain/manifests/triton-stable.yaml'), 'utf8')).map((document) => document.toJS());
    return objects.find(({ kind }) => kind === 'Deployment').spec.template.spec.containers[0].command.at(-1);
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}
