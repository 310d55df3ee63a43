"""ways to reach adults beyond the page, and what each was sent

Revision: 0004; follows: 0003; made: 2026-11-23 15:50:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('contact_point',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('site', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('member', sa.String(), nullable=True),
    sa.Column('audience', sa.String(), nullable=False),
    sa.Column('address', sa.LargeBinary(), nullable=True),
    sa.Column('secret', sa.LargeBinary(), nullable=True),
    sa.Column('name', sa.LargeBinary(), nullable=True),
    sa.Column('added_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('removed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ok_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('failed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('fault', sa.String(), nullable=True),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('tried_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['member'], ['member.id'], ),
    sa.ForeignKeyConstraint(['site'], ['site.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('contact_point_live', 'contact_point', ['site', 'removed_at'], unique=False)
    op.create_index(op.f('ix_contact_point_member'), 'contact_point', ['member'], unique=False)
    op.create_table('sending',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('attempt', sa.String(), nullable=False),
    sa.Column('contact', sa.String(), nullable=False),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('outcome', sa.String(), nullable=True),
    sa.Column('fault', sa.String(), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['attempt'], ['attempt.id'], ),
    sa.ForeignKeyConstraint(['contact'], ['contact_point.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_sending_attempt'), 'sending', ['attempt'], unique=False)
    op.create_index(op.f('ix_sending_contact'), 'sending', ['contact'], unique=False)
    op.create_index('sending_due', 'sending', ['ended_at', 'due_at'], unique=False)


def downgrade() -> None:
    op.drop_index('sending_due', table_name='sending')
    op.drop_index(op.f('ix_sending_contact'), table_name='sending')
    op.drop_index(op.f('ix_sending_attempt'), table_name='sending')
    op.drop_table('sending')
    op.drop_index(op.f('ix_contact_point_member'), table_name='contact_point')
    op.drop_index('contact_point_live', table_name='contact_point')
    op.drop_table('contact_point')
