"""keys of tellings, practice alerts, and the log's signed checkpoints with what became of each

Revision: 0007; follows: 0006; made: 2026-11-23 15:45:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('attempt', sa.Column('key', sa.String(), nullable=False, server_default=''))
    op.add_column('alert', sa.Column('practice', sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table('checkpoint',
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('hash', sa.String(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('signature', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('n')
    )
    op.create_table('shipment',
    sa.Column('target', sa.String(), nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('failing_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('fault', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('target')
    )


def downgrade() -> None:
    op.drop_table('shipment')
    op.drop_table('checkpoint')
    op.drop_column('alert', 'practice')
    op.drop_column('attempt', 'key')
