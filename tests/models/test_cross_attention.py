import torch

from pcc.models.cross_attention import CrossAttention


def test_cells_take_from_tokens_and_tokens_from_cells() -> None:
    torch.manual_seed(0)
    network = CrossAttention(5, head_dim=3)
    grid, tokens = torch.rand(1, 5, 2, 3), torch.rand(1, 2, 5)
    torch.testing.assert_close(network(grid, tokens)[0], grid, rtol=0, atol=0, msg="the gate starts at zero")
    network.gate.data.fill_(0.7)
    new_grid, new_tokens = network(grid, tokens)
    keys, values = network.key(tokens[0]), network.value(tokens[0])
    weights = torch.zeros(2, 3, 2)
    for i in range(2):
        for j in range(3):
            weights[i, j] = (keys @ network.query(grid[0, :, i, j]) / 3**0.5).softmax(0)
            torch.testing.assert_close(new_grid[0, :, i, j], grid[0, :, i, j] + 0.7 * weights[i, j] @ values)
    for token in range(2):
        share = weights[:, :, token] / weights[:, :, token].sum()
        torch.testing.assert_close(new_tokens[0, token], tokens[0, token] + (grid[0] * share).sum((1, 2)))
