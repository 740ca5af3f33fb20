import CIVGKernels
import Tensor

extension Worker {
  /// This worker's share of the tiles of a product of `width` outputs. `inBlocks`: a share is a whole number of
  /// blocks of activations, since the worker rounds what it computes.
  func tiles(of width: Int, inBlocks: Bool = false) -> Range<Int> {
    let tile = Int(CIVG_TILE)
    let count = (width + tile - 1) / tile
    guard inBlocks else { return share(of: count) }
    let each = Int(CIVG_BLOCK) / tile
    let blocks = share(of: (count + each - 1) / each)
    return min(blocks.lowerBound * each, count)..<min(blocks.upperBound * each, count)
  }

  /// The columns that this worker's share of a product of `width` outputs covers.
  func columns(of width: Int, inBlocks: Bool = false) -> Range<Int> {
    let tile = Int(CIVG_TILE)
    let tiles = tiles(of: width, inBlocks: inBlocks)
    return min(tiles.lowerBound * tile, width)..<min(tiles.upperBound * tile, width)
  }
}
