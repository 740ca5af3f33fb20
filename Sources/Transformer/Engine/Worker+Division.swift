import CIVGKernels
import Tensor

extension Worker {
  /// This worker's share of the tiles of a product of `width` outputs. Tiles go in pairs, so that a share
  /// is also a whole number of blocks of activations.
  func tiles(of width: Int) -> Range<Int> {
    let pair = Int(CIVG_BLOCK)
    let pairs = share(of: (width + pair - 1) / pair)
    let count = (width + Int(CIVG_TILE) - 1) / Int(CIVG_TILE)
    return min(pairs.lowerBound * 2, count)..<min(pairs.upperBound * 2, count)
  }

  /// The columns that this worker's share of a product of `width` outputs covers.
  func columns(of width: Int) -> Range<Int> {
    let tile = Int(CIVG_TILE)
    let tiles = tiles(of: width)
    return min(tiles.lowerBound * tile, width)..<min(tiles.upperBound * tile, width)
  }
}
