/** Where a bottle of this backend has its parts: all of it in its state folder, so that nothing is left elsewhere. */
import { join } from "node:path"
import { type State, stateOf } from "../../bottle/state-folder.ts"
import { KEEPER } from "../../policy/wire/keeper.ts"

export interface Places {
  state: State
  /** The agent's home and workspace */
  home: string
  workspace: string
  /** Folder of the gateway's sockets and trust files, which the sandbox sees */
  sockets: string
  owner: string
  control: string
  log: string
}

export function placesOf(home: string, identity: string): Places {
  const state = stateOf(home, identity)
  const at = (path: string) => join(state.dir, path)
  return {
    state,
    home: state.agent,
    workspace: state.workspace,
    sockets: at(KEEPER.sockets),
    owner: at(KEEPER.owner),
    control: at(KEEPER.control),
    log: at(KEEPER.log),
  }
}
