"""HV-BiLSTM: bidirectional LSTMs over the rows and columns of a grid (Rossetti et al., ECCV 2022; pcc.md §2)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class HVBiLSTM(nn.Module):
    """Bidirectional LSTMs along rows and columns, outputs concatenated.

    Cluster tokens stand at both ends of each row and column, so that either direction reads them before the cells;
    their mean outputs are the refined tokens (``fusion: sequence``). An LSTM forgets: a token's effect on the cells
    fades with the distance from the border (docs/decisions/0020).

    Args:
        dim: input channels.
        hidden: units per direction; the output has 4 × ``hidden`` channels.
        dropout: dropout of the input.
    """

    def __init__(self, dim: int, hidden: int = 192, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.rows = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.columns = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.out_dim = 4 * hidden

    def forward(
        self, grid: Float[Tensor, "B D h w"], tokens: Float[Tensor, "B m D"]
    ) -> tuple[Float[Tensor, "B E h w"], Float[Tensor, "B m E"]]:
        """Refined grid and refined cluster tokens (m may be 0)."""
        cells = self.dropout(grid).permute(0, 2, 3, 1)
        row_cells, row_tokens = _along_rows(self.rows, cells, tokens)
        column_cells, column_tokens = _along_rows(self.columns, cells.transpose(1, 2), tokens)
        refined = torch.cat([row_cells, column_cells.transpose(1, 2)], dim=-1)
        return refined.permute(0, 3, 1, 2), torch.cat([row_tokens, column_tokens], dim=-1)


def _along_rows(
    lstm: nn.LSTM, cells: Float[Tensor, "B h w D"], tokens: Float[Tensor, "B m D"]
) -> tuple[Float[Tensor, "B h w E"], Float[Tensor, "B m E"]]:
    rows, count = cells.shape[1], tokens.shape[1]
    ends = tokens.unsqueeze(1).expand(-1, rows, -1, -1)
    output, _ = lstm(torch.cat([ends, cells, ends], dim=2).flatten(0, 1))
    before, inside, after = output.unflatten(0, (-1, rows)).split([count, cells.shape[2], count], dim=2)
    return inside, ((before + after) / 2).mean(dim=1)
