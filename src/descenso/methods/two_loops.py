"""The product of the L-BFGS inverse Hessian with a vector, without a loop over the pairs."""

from __future__ import annotations

from descenso._types import Array, Namespace
from descenso.methods.searched import CURVED


def two_loops(q: Array, S: Array, Y: Array, metric: Array, xp: Namespace) -> Array:
    """H q, with H made of those of the pairs S, Y (m, n), oldest first, that curve upwards.

    The two loops of the usual recursion are two triangular systems in R_ij = s_i.y_j, i <= j, D its diagonal:

        R a = S q;   r = q - Y'a;   R'c = D a - Y H_0 r;   H q = H_0 r + S'c
        H_0 = metric s.y / y'(metric y)                    with the newest pair; metric: a diagonal, (n,)

    Source: Byrd, Nocedal, Schnabel 1994, Math. Programming 63, theorem 2.2.
    """
    sy, ss, yy, ydy = (xp.sum(a * b, -1) for a, b in ((S, Y), (S, S), (Y, Y), (Y * metric, Y)))
    curved = sy > CURVED * xp.sqrt(ss * yy)
    kept = xp.where(curved, xp.ones_like(sy), xp.zeros_like(sy))[:, None]
    S, Y, D = S * kept, Y * kept, xp.where(curved, sy, xp.ones_like(sy))
    inverse = _upper_inverse(S @ Y.mT, D, xp)
    a = inverse @ (S @ q)
    r = q - Y.mT @ a
    index = _numbers(D, xp)
    later = xp.where(index[None, :] > index[:, None], kept.mT, 0 * kept.mT)
    newest = curved & (xp.sum(later, -1) == 0)
    last = xp.sum(xp.where(newest, sy / xp.where(curved, ydy, 1.0), 0 * sy))
    last = xp.where(curved.any(), last, 1 + 0 * last)
    r = last * metric * r
    return r + S.mT @ (inverse.mT @ (D * a - Y @ r))


def _upper_inverse(M: Array, D: Array, xp: Namespace) -> Array:
    """The inverse of the upper triangle of M, with D for its diagonal: blocks of 1, 2, 4, ... are joined in pairs.

    [A B; 0 C]^-1 = [A^-1  -A^-1 B C^-1; 0  C^-1]
    """
    index, inverse, size = _numbers(D, xp), xp.diag(1 / D), 1
    while size < len(D):
        block = xp.floor(index / size)
        first = block == 2 * xp.floor(block / 2)
        pair = first[:, None] & (block[None, :] == block[:, None] + 1)
        inverse = inverse - inverse @ xp.where(pair, M, 0 * M) @ inverse
        size *= 2
    return inverse


def _numbers(like: Array, xp: Namespace) -> Array:
    """0, 1, 2, ... as long as `like`, a vector."""
    zero = xp.sum(xp.zeros_like(like))
    return xp.stack([zero + i for i in range(len(like))])
