import { Token } from 'aws-cdk-lib';
import { fail } from '../private/fail';

/** A copy of the online table in another Region. */
export interface FeatureReplicaProps {
  /** Its Region, for example `eu-west-1`. */
  readonly region: string;
  /** A customer managed key in that Region, which its readers may decrypt with. */
  readonly encryptionKeyArn: string;
  /**
   * Whether the replica's own policy denies every write but that of replication. Only for a replica that exists: CloudFormation cannot make one and
   * give it a policy in one update, so this is for the deployment after the one that added it.
   * @default false
   */
  readonly denyWrites?: boolean;
}

/**
 * A copy of the online table in another Region, for reading there and for failing over to it. Only the home Region writes, so that two Regions never
 * overwrite each other's rows: writers are granted the home table alone, and `denyWrites` holds off everybody else.
 */
export class FeatureReplica {
  /** A replica, encrypted with a key of its Region. Add one at a time: CloudFormation adds several in one update to no table. */
  static in(props: FeatureReplicaProps): FeatureReplica {
    const { region, encryptionKeyArn, denyWrites = false } = props;
    if (Token.isUnresolved(region) || !/^[a-z]{2}(-[a-z]+)+-\d$/.test(region)) {
      fail(undefined, 'ReplicaRegion', `the region of a replica must be a Region's name that is known at synth, got '${region}': write it out, for example eu-west-1`);
    }
    if (!Token.isUnresolved(encryptionKeyArn) && encryptionKeyArn.split(':')[3] !== region) {
      fail(undefined, 'ReplicaKey', `the key of a replica must be in its Region ${region}, got '${encryptionKeyArn}': make a key there, for example a replica of a multi-Region key`);
    }
    return new FeatureReplica(region, encryptionKeyArn, denyWrites);
  }

  private constructor(readonly region: string, readonly encryptionKeyArn: string, readonly denyWrites: boolean) {}
}
