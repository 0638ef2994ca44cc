/* Runs a SavedModel through TensorFlow's C API, as a program in C would.
 *
 * run_saved_model DIR TAG INPUT OUTPUT PHASE SIZE...
 *
 * INPUT and OUTPUT are ops; PHASE is 0 or 1 for keras_learning_phase, or - where it is not fed; SIZE... is the shape of
 * the float32 batch on standard input. The float32 output goes to standard output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

#define MAX_RANK 8

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s: %s\n", what, TF_Message(status));
    exit(1);
  }
}

static TF_Output first_of(TF_Graph* graph, const char* op) {
  TF_Output output = {TF_GraphOperationByName(graph, op), 0};
  if (output.oper == NULL) {
    fprintf(stderr, "the graph has no op %s\n", op);
    exit(1);
  }
  return output;
}

static TF_Tensor* batch_from(FILE* file, const int64_t* sizes, int rank) {
  size_t bytes = sizeof(float);
  for (int i = 0; i < rank; ++i) bytes *= (size_t)sizes[i];
  TF_Tensor* tensor = TF_AllocateTensor(TF_FLOAT, sizes, rank, bytes);
  if (fread(TF_TensorData(tensor), 1, bytes, file) != bytes) {
    fprintf(stderr, "too few numbers\n");
    exit(1);
  }
  return tensor;
}

static TF_Tensor* truth(int value) {
  TF_Tensor* tensor = TF_AllocateTensor(TF_BOOL, NULL, 0, 1);
  *(unsigned char*)TF_TensorData(tensor) = (unsigned char)value;
  return tensor;
}

int main(int argc, char** argv) {
  if (argc < 7 || argc - 6 > MAX_RANK) {
    fprintf(stderr, "usage: run_saved_model DIR TAG INPUT OUTPUT PHASE SIZE...\n");
    return 2;
  }
  const char* tags[] = {argv[2]};
  int rank = argc - 6;
  int64_t sizes[MAX_RANK];
  for (int i = 0; i < rank; ++i) sizes[i] = atoll(argv[6 + i]);

  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "TF_LoadSessionFromSavedModel");

  TF_Output feeds[2] = {first_of(graph, argv[3])};
  TF_Tensor* values[2] = {batch_from(stdin, sizes, rank)};
  int count = 1;
  if (strcmp(argv[5], "-") != 0) {
    feeds[count] = first_of(graph, "keras_learning_phase");
    values[count++] = truth(atoi(argv[5]));
  }
  TF_Output fetch = first_of(graph, argv[4]);
  TF_Tensor* result = NULL;
  TF_SessionRun(session, NULL, feeds, values, count, &fetch, &result, 1, NULL, 0, NULL, status);
  check(status, "TF_SessionRun");
  fwrite(TF_TensorData(result), 1, TF_TensorByteSize(result), stdout);

  TF_DeleteTensor(result);
  for (int i = 0; i < count; ++i) TF_DeleteTensor(values[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
