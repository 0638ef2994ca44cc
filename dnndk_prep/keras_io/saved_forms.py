"""What the files of a saved model are called, as the application note has it."""

COMPLETE, ARCHITECTURE, WEIGHTS = "k_complete_model.h5", "k_model_architecture.json", "k_model_weights.h5"
CHECKPOINT, ARCHIVE, HISTORY = "keras_chkpt.h5", "model.keras", "history.json"
