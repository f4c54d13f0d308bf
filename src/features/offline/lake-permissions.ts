import { Stack } from 'aws-cdk-lib';
import { IRole } from 'aws-cdk-lib/aws-iam';
import { CfnPrincipalPermissions } from 'aws-cdk-lib/aws-lakeformation';
import { Construct, IDependable } from 'constructs';

export interface LakePermissionsProps {
  readonly databaseName: string;
}

/**
 * What Lake Formation must grant beside IAM, in accounts where it governs the catalog. Grants only: the settings of the data lake name its
 * administrators, are one for the whole account, and belong to nobody here.
 */
export class LakePermissions extends Construct {
  constructor(scope: Construct, id: string, private readonly props: LakePermissionsProps) {
    super(scope, id);
  }

  /** For who makes and evolves tables; of those that it makes it may do everything. */
  grantDefine(name: string, role: IRole): IDependable {
    return this.onDatabase(name, role, ['CREATE_TABLE', 'DESCRIBE']);
  }

  /** For who appends rows, or rewrites files. */
  grantChange(name: string, role: IRole): IDependable {
    return this.onTables(name, role, ['ALTER', 'DELETE', 'DESCRIBE', 'INSERT', 'SELECT']);
  }

  grantRead(name: string, role: IRole): IDependable {
    return this.onTables(name, role, ['DESCRIBE', 'SELECT']);
  }

  private onDatabase(name: string, role: IRole, permissions: string[]): IDependable {
    const { account } = Stack.of(this);
    return this.grant(name, role, permissions, { database: { catalogId: account, name: this.props.databaseName } });
  }

  private onTables(name: string, role: IRole, permissions: string[]): IDependable {
    const { account } = Stack.of(this);
    return this.grant(name, role, permissions, { table: { catalogId: account, databaseName: this.props.databaseName, tableWildcard: {} } });
  }

  private grant(name: string, role: IRole, permissions: string[], resource: CfnPrincipalPermissions.ResourceProperty): CfnPrincipalPermissions {
    return new CfnPrincipalPermissions(this, name, {
      principal: { dataLakePrincipalIdentifier: role.roleArn }, resource, permissions, permissionsWithGrantOption: [],
    });
  }
}
