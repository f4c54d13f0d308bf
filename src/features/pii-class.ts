import * as contract from '../contract';

/** How personal a feature is. Anything but `NONE` is redacted from captured payloads. */
export class PiiClass {
  /** Says nothing about a person. */
  static readonly NONE = new PiiClass('none');
  /** About a person who is only known by a pseudonym. */
  static readonly PSEUDONYMOUS = new PiiClass('pseudonymous');
  /** About an identifiable person. */
  static readonly PERSONAL = new PiiClass('personal');
  /** Special categories: health, beliefs, biometrics (GDPR, article 9). */
  static readonly SENSITIVE = new PiiClass('sensitive');

  private constructor(private readonly value: contract.PiiClass) {}

  /** The name in the feature schema. */
  toString(): string {
    return this.value;
  }

  /** @internal */
  _render(): contract.PiiClass {
    return this.value;
  }
}
