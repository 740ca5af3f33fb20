import CIVGKernels
import Tensor

extension Worker {
  /// The columns that this worker's share of the tiles of a product of `width` outputs covers.
  func columns(of width: Int) -> Range<Int> {
    let tile = Int(CIVG_TILE)
    let tiles = share(of: (width + tile - 1) / tile)
    return min(tiles.lowerBound * tile, width)..<min(tiles.upperBound * tile, width)
  }
}
